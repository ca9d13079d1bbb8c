"""A page in the browser for your own images: `fewshot serve`. It needs the extra ``page`` (gradio)."""
