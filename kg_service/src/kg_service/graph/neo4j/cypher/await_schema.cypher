// Returns once every index and constraint is online.
CALL db.awaitIndexes($given.seconds)
