/** Text tables: the first column to the left, the others to the right. */

export type Column<Row> = readonly [title: string, cell: (row: Row) => string]

/** One line for the titles, one for each row. */
export function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, cell]) => cell(row)))]
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)))
  const align = (cell: string, index: number) =>
    index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0)
  return cells.map((line) => line.map(align).join('  ').trimEnd())
}
