"""How each kind of task is carried out, in a process of its own."""
