"""What clients of the Hugging Face Hub ask by and have sent."""
