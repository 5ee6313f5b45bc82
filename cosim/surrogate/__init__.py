"""Surrogates: a circuit's answer to an event in numpy, with a certificate (`base`); programming pulses (`pulse`)."""
