"""What makes pictures with a trained model, and puts them into clips."""
