"""What train steps cost on devices that need not be there."""
