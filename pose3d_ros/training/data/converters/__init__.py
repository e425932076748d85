"""From the forms in which datasets are distributed to ``training.dataset``'s."""
