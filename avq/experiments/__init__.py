"""From an ablation file to records: ablation -> plan -> runs -> store."""
