"""Measures: functions of waveforms."""
