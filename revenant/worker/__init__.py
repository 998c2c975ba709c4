"""The process that runs turns: lanes, and the loops that keep them fed, known and clean."""
