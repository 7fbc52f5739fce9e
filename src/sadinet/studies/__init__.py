"""The paper's tables: which trainings they are, running them, what they say; hard persons drawn."""
