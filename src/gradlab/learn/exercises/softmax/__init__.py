"""The exercise: the cross-entropy of a softmax, for any logits, and its gradient."""
