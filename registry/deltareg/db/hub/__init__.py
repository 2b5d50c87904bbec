"""What clients of the Hugging Face Hub look up and upload."""
