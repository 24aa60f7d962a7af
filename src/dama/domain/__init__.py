"""The pure part: values in, values out. Events, slices, the life cycle and the journal of a run."""
