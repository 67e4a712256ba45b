"""Planning: sample, score and improve velocity plans under a time budget."""
