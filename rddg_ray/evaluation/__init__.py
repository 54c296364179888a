"""Do the synthetic rows help (utility), do they look real (fidelity), are they copies."""
