using System.Collections;
using System.Collections.Generic;
using System.Text.RegularExpressions;

namespace SecretBridge;

/// <summary>VaultParameters: plain JSON, as PowerShell's tables.</summary>
public static class Parameters
{
    private static readonly Regex BecomesDate = new(@"^(\d{4}-\d\d-\d\dT\d\d:\d\d|/Date\()", RegexOptions.CultureInvariant);

    /// <summary>Hashtables without case in place of the ordered ones; texts are added to the secrets.</summary>
    public static object? Untag(object? value, ICollection<string>? secrets)
    {
        switch (PlainJson.Bare(value))
        {
            case IDictionary members:
                Hashtable table = Values.NewTable();
                foreach (DictionaryEntry entry in members)
                {
                    table[entry.Key] = Untag(entry.Value, secrets);
                }
                return table;
            case object?[] items:
                object?[] list = new object?[items.Length];
                for (int i = 0; i < list.Length; i++)
                {
                    list[i] = Untag(items[i], secrets);
                }
                return list;
            case string text:
                secrets?.Add(text);
                return text;
            case object other:
                return other;
            default:
                return null;
        }
    }

    /// <summary>
    /// Where SecretManagement hands something else to the extension than was given: it reads its registry back by
    /// ConvertFrom-Json, and takes every item of a list for an object.
    /// </summary>
    public static IEnumerable<string> Changed(object? value, string path)
    {
        switch (PlainJson.Bare(value))
        {
            case IDictionary members:
                foreach (DictionaryEntry entry in members)
                {
                    foreach (string change in Changed(entry.Value, path.Length == 0 ? PlainJson.Text(entry.Key) : $"{path}.{entry.Key}"))
                    {
                        yield return change;
                    }
                }
                break;
            case object?[] items:
                foreach (object? item in items)
                {
                    if (PlainJson.Bare(item) is not IDictionary)
                    {
                        yield return $"{path} is a list, whose items that are no tables become empty ones";
                        yield break;
                    }
                }
                foreach (object? item in items)
                {
                    foreach (string change in Changed(item, path))
                    {
                        yield return change;
                    }
                }
                break;
            case string text when BecomesDate.IsMatch(text):
                yield return $"{path} is a text that becomes a date";
                break;
        }
    }
}
