/**
 * The X.509 library, loaded when the first certificate is made and not before: it costs 17 MB and a tenth of a second,
 * and a broker that has its certificates never needs it.
 */
type X509 = typeof import('@peculiar/x509')

export async function loadX509(): Promise<X509> {
  registerMetadata()
  return await import('@peculiar/x509')
}

/**
 * The library's dependency injection asks for a metadata registry, and refuses to load where there is none. All of its
 * classes were compiled without metadata, so the truthful answer to every question is that there is nothing.
 */
function registerMetadata(): void {
  if ('getMetadata' in Reflect) return
  const nothing = () => undefined
  Object.assign(Reflect, { getMetadata: nothing, getOwnMetadata: nothing, defineMetadata: nothing })
}
