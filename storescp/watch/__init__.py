"""What is told of what happens: observers, and what shows what they know."""
