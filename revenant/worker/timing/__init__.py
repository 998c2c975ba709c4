"""What is due: timers, reminders, schedules, expiry and deadlines, by the database's clock."""
