"""The cameras of the Vera C. Rubin Observatory."""
