"""Stand-ins for the pretrained parts: a tiny CLIP tower and tiny Qwen2 and LLaMA3 language models.

They take the place of CLIP-L/336 and of a 7B instruct model on a machine that has neither. They are trained once,
shipped with the package, the same for every arm, and never a claim about the real models.
"""
