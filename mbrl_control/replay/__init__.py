"""From logs to training rows: aligned transitions, delay estimate, held-out blocks, replay buffers and their mix."""
