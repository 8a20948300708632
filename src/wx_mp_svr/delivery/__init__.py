"""The promise: one run per push, whoever asks, and an answer that comes late still arrives."""
