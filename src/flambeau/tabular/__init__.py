"""Tables: columns in memory, processes that clean them, nets with embeddings, and small models from scratch."""
