"""Conversations to checkpoint: LLaVA-NeXT on Qwen2 and LLaMA3."""
