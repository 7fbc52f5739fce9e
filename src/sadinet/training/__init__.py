"""A step, its learner and its folder, the loop written out, one process or many."""
