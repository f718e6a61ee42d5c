// The graph's schema, statement by statement. Running it again changes nothing.
// (:Image {image_id, name, caption, caption_sha256, dataset, split, ingested_at, revision})
//   -[:HAS_ATTRIBUTE {key, text, start, end, score, rule, assertion, linker}]->
// (:Concept {cui, name, semantic_types, source, revision}) -[:IS_A {key, source}]-> (:Concept)
// (:Concept) -[:has_finding_site {key, source}]-> (:Concept): a typed relation, called by its RELA; its key is `CUI RELA CUI`.
// (:GraphState {name, graph_id, schema_version, revision, mirror_…}) stands once: it counts write transactions, and holds what
// each mirror left there when it last read the graph: a restored backup shows another signature than the mirror has.
// `name` of an image is its id: Neo4j Browser shows a property of this name.
// `revision` of a node is that of the transaction that wrote it last, or one of the edges to concepts that leave it.

CREATE CONSTRAINT image_id IF NOT EXISTS FOR (image:Image) REQUIRE image.image_id IS UNIQUE;
CREATE CONSTRAINT concept_cui IF NOT EXISTS FOR (concept:Concept) REQUIRE concept.cui IS UNIQUE;
CREATE CONSTRAINT has_attribute_key IF NOT EXISTS FOR ()-[attribute:HAS_ATTRIBUTE]-() REQUIRE attribute.key IS UNIQUE;
CREATE CONSTRAINT is_a_key IF NOT EXISTS FOR ()-[is_a:IS_A]-() REQUIRE is_a.key IS UNIQUE;
CREATE CONSTRAINT graph_state_name IF NOT EXISTS FOR (state:GraphState) REQUIRE state.name IS UNIQUE;
CREATE INDEX image_revision IF NOT EXISTS FOR (image:Image) ON (image.revision);
CREATE INDEX concept_revision IF NOT EXISTS FOR (concept:Concept) ON (concept.revision);
