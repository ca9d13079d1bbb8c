"""Few-shot image classification with a learned graph of the episode's classes."""
