// To be rolled back: refused where the database is read-only, its disk is full, or the login may not write.
CREATE (:GraphState)
