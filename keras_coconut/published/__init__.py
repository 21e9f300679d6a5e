"""Files of published models: Hugging Face's GPT-2 and Llama.

Most modules read and write files without a model. `loading` makes a model from
files, and `models/published_model.py` writes the files of a model.
"""
