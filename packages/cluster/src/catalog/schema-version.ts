/** Version of the catalog's tables, raised when what is stored changes its form, and the oldest that is still read. */
export const schemaVersion = 2;
export const oldestSchemaVersion = 1;
