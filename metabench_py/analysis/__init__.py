"""Studies of scores, abilities and answers: factors, comparisons, contamination."""
