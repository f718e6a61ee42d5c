// All indexes; a constraint for which there is nothing twice has one of its own name.
SHOW INDEXES YIELD name, state, type, labelsOrTypes, properties, owningConstraint
RETURN collect([name, state, type, coalesce(labelsOrTypes, []), coalesce(properties, []), owningConstraint IS NOT NULL])
