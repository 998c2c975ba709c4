-- Promise: for each reason, how many runs do not go on by themselves.
-- Locks: none.
select s.reason, count(*) from revenant.stuck s group by s.reason order by s.reason;
