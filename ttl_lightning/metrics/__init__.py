"""Pure functions of predictions and labels: scores, intervals, tests of differences."""
