"""The training program: `python -m train <verb>`. Not installed; imports marsad, torch and transformers."""
