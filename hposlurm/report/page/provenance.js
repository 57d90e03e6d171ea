// Where the results come from: files that were submitted, code, nodes.

section('provenance', 'Scripts and environment', () => perStudy((study) => {
  const own = study.provenance;
  return [
    pairs(own.facts),
    own.files.map((file) => el('details', { class: 'data' }, el('summary', {}, file.name), el('pre', { tabindex: '0' }, file.text))),
  ];
}), 'Scripts');
