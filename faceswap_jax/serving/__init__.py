"""What is used without a workshop: exported models, and a server of them."""
