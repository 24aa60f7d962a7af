"""Examples: programs written on dama as its users would write them."""
