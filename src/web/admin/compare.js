// What of a conflict differs. Knows no page.

// What only an entry in the ledger has.
const LEDGER_ONLY = new Set(['version', 'balance_after', 'committed_at']);

/** Rows of a conflict: field, both values, and whether they differ. */
export function compare({ first, second }) {
  const fields = [...new Set([...Object.keys(first ?? {}), ...Object.keys(second)])];
  const written = (value) => (typeof value === 'object' && value !== null ? JSON.stringify(value) : value?.toString());
  return fields.map((field) => {
    const [known, refused] = [written(first?.[field]), written(second[field])];
    return { field, known, refused, differs: first !== null && !LEDGER_ONLY.has(field) && known !== refused };
  });
}
