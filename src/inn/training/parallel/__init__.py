"""Training in several processes: process groups, DDP and FSDP, and what is sent between processes."""
