"""What is to be done: ablation files, rows, plans and tasks."""
