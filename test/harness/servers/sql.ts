/** One question to a database, over a connection of its own: as somebody with psql would ask it, past the ledger's own code. */
import pg from "pg";

export async function sqlAt<R extends object = object>(url: string, text: string): Promise<readonly R[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<R>(text)).rows;
  } finally {
    await client.end();
  }
}
