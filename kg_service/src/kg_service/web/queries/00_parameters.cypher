// 00 Parameters: run this first
// Every other query takes its values from here. Change one at any time: `:param image_id => "RM_00042"`.
// Lists go by image id: `after` is the last id of the page before, and empty for the first page.
:param image_id => "RM_00042";
:param other_image_id => "RM_00234";
:param cui => "C1290884";
:param linker => "dictionary-6";
:param rule => "abbreviation";
:param below_score => 0.8;
:param most_mentions => 10000;
:param after => "";
:param limit => 25;
