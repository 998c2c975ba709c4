"""The nursery: starts commands as forks of a process that has imported the package, in a fraction of the time.

What begins there is a process like any other, with its own output, environment and signals, to be killed and waited
for. How an interpreter starts and imports is not seen there: that is for the tests that start the command as users do.
"""

from tests.nursery.near import Process, nursery

__all__ = ["Process", "nursery"]
