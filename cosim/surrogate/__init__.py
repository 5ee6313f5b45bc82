"""Surrogates: a circuit's answer to an event in numpy, with a certificate (`base`); closed pulses (`pulse_kernel`)."""
