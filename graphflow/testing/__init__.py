"""What users test their graphs, and third parties their checkpointers, with."""
