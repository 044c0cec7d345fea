"""What things cost: parameters, operations, memory and time."""
