"""Netlists, test benches and the engines that run them."""
