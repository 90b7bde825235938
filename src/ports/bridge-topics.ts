/** Copies for bridges stand in the log under topics that only bridges subscribe to: `$bridge/`, two levels, and their own. */
const trees = ['$bridge/delayed/', '$bridge/lasting/']
const levelCount = 3

/** The topic of the message that is a copy; any other topic as it is. */
export function homeTopic(topic: string): string {
  return trees.some((tree) => topic.startsWith(tree)) ? topic.split('/').slice(levelCount).join('/') : topic
}
