"""The validator: re-runs work, gives verdicts, recomputes and attests checkpoints, follows L1 on its own."""
