"""Statistics over cases of anything: spreads, sampling, yields, rare events, worst cases."""
